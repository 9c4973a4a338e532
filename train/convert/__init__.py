"""A model of anybody's -> a `.tflite`: read, understood, converted, compared, written."""
