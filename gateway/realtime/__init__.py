"""One WebSocket session of the OpenAI Realtime protocol: `session.py` is its story."""
