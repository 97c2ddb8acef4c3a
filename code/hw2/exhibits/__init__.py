"""The figures and tables of the chapters, a module for each."""
