"""What Streamlit runs; the views are in `bots.web.views`, since it takes a folder `pages` itself."""

from bots.web.views import show

show()
