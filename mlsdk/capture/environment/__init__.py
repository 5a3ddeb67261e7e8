"""What the program ran in: interpreter, packages and their lock, variables, job, container."""
