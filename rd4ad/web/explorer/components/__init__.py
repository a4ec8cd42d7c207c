"""Elements that Streamlit lacks, each with its own HTML, CSS and JavaScript in the page.

Comes in: pictures or an address. Goes out: an element on the page that calls. May be imported by:
pages and panels.
"""
