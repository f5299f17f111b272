"""What other programs and browsers touch: the Realtime protocol, the REST API and the page."""
