"""The language everyone here speaks: payloads, audio, engines, settings, errors, the ledger.

Imports neither modal nor any engine library.
"""
