"""What the services' apps share on Modal: images, options, their life in a container."""
