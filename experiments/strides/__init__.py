"""Small and large strides."""
