"""How good the suggestions are, on text: recall, keystrokes saved, perplexity, latency."""
