//! OpenAI Chat Completions, and every host that imitates it.
//!
//! - Reference: platform.openai.com, "Chat Completions"; types as in the vendor's SDKs of 2026-08.
//! - Paths: `POST /v1/chat/completions`; legacy `POST /v1/completions` has the same stream with
//!   `text` for `delta`. Embeddings and moderations live on the same hosts and pass through.
//! - Model: top-level `model`, in requests, answers and every chunk.
//! - Stream: nameless events `data: {chunk}`, ended by `data: [DONE]`. Role chunk, content, finish
//!   chunk, then, if the request said `stream_options.include_usage`, one chunk with empty
//!   `choices` and `usage`.
//! - Error: `{"error":{..}}` as a body, or in the place of a chunk under status 200.
//!
//! | folder or file | what |
//! |---|---|
//! | `request/` | `decode` with `messages`, `parts`, `decode_tools`: a client's body; `encode` with `history`, `assistant`, `pieces`: a provider's |
//! | `stream/` | `decode` with `message`, `calls`, `think`: a provider's chunks, and its whole answers too; `encode`: a client's |
//! | `response` | whole answers, through the same readers |
//! | `reasoning`, `words` | `reasoning_details`; what streams and whole answers say alike |
//! | `finish` | what the words of `finish_reason` mean |
//!
//! Oddities that code in this folder must bear:
//!
//! | host | what |
//! |---|---|
//! | Azure | first chunk with empty `choices` and `prompt_filter_results`; late chunks without `delta` |
//! | DeepSeek | `reasoning_content`; `prompt_cache_hit_tokens`; comments and blank lines to keep a connection |
//! | OpenRouter | `reasoning`, `reasoning_details`; errors beside `choices` with `finish_reason:"error"`; comments |
//! | Groq | usage under `x_groq.usage` on the last chunk |
//! | xAI, Gemini | usage on every chunk, cumulative |
//! | Gemini | errors in a one-element array; thoughts missing in `completion_tokens` |
//! | Mistral | `content` as an array of parts; flat error objects |
//! | Ollama | errors as a bare string; tool index 0 for every call |
//! | some | no `[DONE]`; no blank line at the end; no `data:` space |

pub(crate) mod error;
pub(crate) mod finish;
mod profile;
mod reasoning;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod words;

pub(crate) use profile::PROFILE;
