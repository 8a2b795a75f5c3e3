"""What Streamlit runs for each page; the pages themselves are in `bots.web.views`."""

from bots.web.views import show

show()
