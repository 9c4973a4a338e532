"""One trained model, stepped over real text by several engines, each in a process of its own."""
