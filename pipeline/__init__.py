"""Speech emotion recognition, from folders of audio to a number that can be trusted."""
