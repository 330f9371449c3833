"""One large filter versus several small ones."""
