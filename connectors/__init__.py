"""Who we talk to: one file is one outside system. Plain arguments in, plain values out; no topics, no agents."""
