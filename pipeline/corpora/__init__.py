"""Known corpora: file names, speakers, licences and checksums."""
