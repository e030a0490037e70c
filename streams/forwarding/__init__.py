"""The forward role: a source's events in Amplitude."""
