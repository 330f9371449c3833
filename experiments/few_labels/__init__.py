"""Learning from few labels: autoencoders' codes against training from scratch."""
