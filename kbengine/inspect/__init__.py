"""What a model file or bundle holds, without TensorFlow."""
