"""The Streamlit explorer: stored runs in, tables and charts on pages out.

What several pages draw is here, what one page alone draws in `screens`. Pages and the rest of web
may import it; it needs no torch.
"""
