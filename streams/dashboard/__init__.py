"""The live page: what the emails did, second by second."""
