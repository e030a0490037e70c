"""When and in what order: settings, agents, ingress and the command line."""
