"""The experiment on proposals: cropped from the image, from a shared map, and learned."""
