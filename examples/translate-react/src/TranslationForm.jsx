import { useState } from 'react';
import { translateText } from './translate.js';

const languages = { en: 'English', zh: 'Chinese 中文', es: 'Spanish Español', fr: 'French Français' };

function Language({ label, value, onChange }) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {Object.entries(languages).map(([code, name]) => (
          <option key={code} value={code}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

export default function TranslationForm() {
  const [text, setText] = useState('');
  const [sourceLanguage, setSourceLanguage] = useState('en');
  const [targetLanguage, setTargetLanguage] = useState('zh');
  const [answer, setAnswer] = useState(null); // {translation, language} or {error}
  const [busy, setBusy] = useState(false);

  const handleSubmit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      setAnswer({ translation: await translateText(text, sourceLanguage, targetLanguage), language: targetLanguage });
    } catch (error) {
      setAnswer({ error: error.message });
    } finally {
      setBusy(false);
    }
  };

  return (
    <form onSubmit={handleSubmit} aria-busy={busy}>
      <label>
        文本 Text
        <input type="text" value={text} onChange={(event) => setText(event.target.value)} required />
      </label>
      <Language label="原文语言 From" value={sourceLanguage} onChange={setSourceLanguage} />
      <Language label="目标语言 To" value={targetLanguage} onChange={setTargetLanguage} />
      <button type="submit" disabled={busy}>
        翻译 Translate
      </button>
      <output aria-live="polite" lang={answer?.language}>
        {answer?.translation}
      </output>
      {answer?.error && <p role="alert">{answer.error}</p>}
    </form>
  );
}
