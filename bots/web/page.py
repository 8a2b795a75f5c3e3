"""What Streamlit runs. The views are in `bots.web.views`: it takes a folder `pages` for its own."""

from bots.web.views import show

show()
