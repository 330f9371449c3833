"""What people read: reports, figures, tables of the terminal, and the words in all of them."""
