"""Audio: checked samples, decoding of any format, MP3."""
