"""What is deployed on Modal, as commands see it."""
