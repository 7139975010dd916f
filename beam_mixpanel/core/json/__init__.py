"""JSON: exact decoding, sorted encoding, values, streams of text."""
