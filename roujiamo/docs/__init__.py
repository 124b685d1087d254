"""Pages for people who run roujiamo, installed with it. Nothing in here is code."""
