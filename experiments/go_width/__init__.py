"""The width of AlphaGo's policy network: accuracy and cost."""
