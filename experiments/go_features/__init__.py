"""What the groups of input planes of AlphaGo's policy network bring."""
