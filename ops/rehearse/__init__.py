"""`threadwax rehearse`: asks another model what people really asked, before people meet it."""
