"""What Streamlit runs for each page; the pages themselves are in `bots.web.pages`."""

from bots.web.pages import show

show()
