"""The auditor's bundle: its facts, its files and their index, and the forms people read."""
