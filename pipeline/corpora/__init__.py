"""The corpora: what file names mean, speakers, licences, checksums."""
