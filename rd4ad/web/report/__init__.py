"""The static report: stored runs in, a folder of HTML pages out, which any host can serve."""
