"""Audio: checked samples, MP3, decoding of any format."""
