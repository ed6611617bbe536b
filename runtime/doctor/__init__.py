"""What of maskanim runs on this machine, what does not, and why.

Nothing heavy is imported here: each library is tried in a process of its own, which may crash or hang without harm.
"""
