"""What the program ran in: interpreter, packages and their lock, frameworks, variables, job, container."""
