// OpenAI's Agents SDK for JavaScript: `RealtimeSession`, over a WebSocket.

import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';

import { INSTRUCTIONS, Person, WEATHER_DESCRIPTION, WEATHER_TOOL } from './person.mjs';

const person = new Person();
const weather = tool({
  name: WEATHER_TOOL,
  description: WEATHER_DESCRIPTION,
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => person.called({ city }),
});
const agent = new RealtimeAgent({ name: 'Assistant', instructions: INSTRUCTIONS, tools: [weather] });
const session = new RealtimeSession(agent, { transport: 'websocket' });

session.on('audio', (event) => person.hears(event.data));
session.on('audio_interrupted', () => person.interrupted());
session.on('error', ({ error }) => person.failed(error));
session.on('transport_event', (event) => {
  if (event.type === 'conversation.item.input_audio_transcription.completed') {
    person.transcribed(event.transcript);
  } else if (event.type === 'response.output_audio_transcript.delta') {
    person.reads(event.delta);
  } else if (event.type === 'response.done') {
    person.answered();
  }
});

const answer = await fetch(`${person.url}/v1/realtime/client_secrets`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: '{}',
});
const secret = await answer.json();
await session.connect({ apiKey: secret.value, url: person.realtimeUrl });
await person.talk((frame) => session.sendAudio(frame));
session.close();
