import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  base: './', // wherever the built page is put
  envPrefix: 'TOLLGATE_URL', // and nothing else of the environment: it would be public
});
