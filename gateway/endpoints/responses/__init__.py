"""The routes of OpenAI's Responses API, over any model that chats."""
