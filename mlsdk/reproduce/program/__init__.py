"""Starting the program again: command line, variables, what stands still for it, and its end."""
