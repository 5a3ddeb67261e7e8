"""What the program ran on: host, processor, GPUs, the libraries that calculate, energy."""
