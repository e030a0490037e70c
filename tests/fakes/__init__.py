"""Stateful fakes of the outside services, faithful to what their vendors document, for all tests that need one."""
