"""OpenAI's Responses API on top of chats: a request read as a chat's, a chat's answer written as a response. Pure."""
