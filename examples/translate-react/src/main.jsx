import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import TranslationForm from './TranslationForm.jsx';
import './style.css';

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <main>
      <h1>翻译 <span lang="en">Translation</span></h1>
      <TranslationForm />
    </main>
  </StrictMode>,
);
