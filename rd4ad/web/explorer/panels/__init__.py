"""Parts of pages that draw themselves: galleries, the laboratory, the cards of the first screen.

Comes in: stored runs by `run_cache`, findings, images of generated parts. Goes out: Streamlit
elements on the page that calls. May be imported by: pages.
"""
