"""Go: the rules, the input planes of AlphaGo's policy network, files of games, and pictures."""

from cnnlab.go.board import Board, IllegalMove
from cnnlab.go.games import PASS, SIDE, Game, Games, read_games

__all__ = ["PASS", "SIDE", "Board", "Game", "Games", "IllegalMove", "read_games"]
