"""One large filter against several small ones."""
